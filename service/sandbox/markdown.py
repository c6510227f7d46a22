"""What the bot `markdown` says: a bit of everything that models write when they answer in Markdown."""

from __future__ import annotations

import re
from typing import Final

_ENGLISH: Final = """\
## Three ways to say *hello*

A short answer with **bold**, *italic*, ~~struck~~ words, `code` and a [link](https://example.com/hello "A greeting").

1. First, say it.
2. Then say it in code:

   ```python
   def hello(name: str) -> str:
       return f"Hello, **{name}**!"  # no Markdown in here
   ```

3. Or in a table:

| Language | Greeting | Length |
|:---------|:--------:|-------:|
| English  | Hello    | 5      |
| 中文     | 您好     | 2      |

- A list
  - with a list in it
- and a bare address: https://example.com/a_b_c

> A quotation
> of two lines.

![A wave](https://example.com/wave.png)

---

<b>HTML</b> stays text: 2 * 3 < 7, snake_case_name.
"""
_CHINESE: Final = """\
## 用三种方式说*您好*

简短的回答，带有**粗体**、*斜体*、~~删除线~~和 `代码`，还有一个[链接](https://example.com/hello "问候")。

**注意：**标点后面的粗体也要正确显示，这是**“引用”**的例子。

1. 先直接说。
2. 再用代码说：

   ```python
   def hello(name: str) -> str:
       return f"您好，**{name}**！"  # 这里不是 Markdown
   ```

3. 或者用表格：

| 语言    | 问候  | 长度 |
|:--------|:-----:|-----:|
| English | Hello | 5    |
| 中文    | 您好  | 2    |

- 一个列表
  - 里面还有列表
- 一个网址：https://example.com/a_b_c

> 一段引用，
> 共两行。

![挥手](https://example.com/wave.png)

---

<b>HTML</b> 只是文字：2 * 3 < 7，snake_case_name。
"""


def markdown(question: str) -> str:
    """The answer, in the question's language."""
    return _CHINESE if re.search("[\u4e00-\u9fff]", question) else _ENGLISH
