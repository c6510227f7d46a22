/** What the page says, in English and in Chinese. The HTML itself holds the English of its fixed texts. */
const ENGLISH = {
  ready: "Ready", notReady: "Not ready", unreachable: "The service cannot be reached",
  language: "en", conversation: "Conversation", newConversation: "New conversation",
  guest: "guest", you: "You:", theBot: "The bot:", file: "File", picture: "Picture",
  unnamed: "Without a name", renameIt: (name) => `Rename: ${name}`, deleteIt: (name) => `Delete: ${name}`, newName: "New name",
  deleteWhat: (name) => `“${name}” and its messages are deleted at Coze, too. This cannot be undone.`, deleted: "Deleted.",
  opening: "Opening the conversation…", opened: (name) => `Open: ${name}`, earlier: "Earlier messages",
  gone: "That conversation does not exist any more. This is a new one.",
  goesOn: "The conversation goes on. What was said before is not kept here.",
  like: "Good answer", unlike: "Bad answer", rateAnswer: "Rate the answer",
  placeholder: "Message…", askAbout: "Ask about the file…", attachHint: "Attach files: pick, drop or paste them",
  welcome: "Ask your bot something.",
  welcomeMore: "You see the answer as your users would, and beside it every event your frontend gets.",
  starters: ["Hello! Who are you?", "What can you do?"],
  copyAnswer: "Copy the answer", copyIt: (text) => `Copy ${text}`, askAgain: "Ask again", editQuestion: "Edit the question",
  enterKey: "Enter a key", keys: "Enter sends · Shift+Enter for a new line · Esc stops", needsWords: "Write something about the file to send it.",
  tooLong: (count, most) => `${count.toLocaleString("en")} characters; at most ${most.toLocaleString("en")} can be sent.`,
  copy: "Copy", copied: "Copied", notCopied: "Not copied: the browser does not allow it", table: "Table",
  showPicture: (name, host) => `${name ? `${name}: ` : ""}show the picture from ${host}`,
  thinking: "Thinking", nothing: "The bot said nothing.", moreCharacters: (count) => `(${count} more characters)`,
  reconnecting: "Reconnecting…",
  answering: "The bot is answering.", answered: "The bot answered.", stopped: "Stopped",
  tokens: (all, into, out) => `${all} tokens (${into} in, ${out} out)`,
  uploading: "uploading…", remove: (name) => `Remove ${name}`, retry: "Try again", retryIn: (s) => `Try again in ${s} s`,
  waitLong: (minutes) => `Try again in about ${minutes} minutes.`,
  requestId: "Request id",
  tooBig: (name) => `${name} exceeds the 10 MiB limit.`, empty: (name) => `${name} is empty.`,
  brokeOff: "The answer broke off", lost: "The connection was lost before the answer was complete.",
  offline: "No connection", offlineMore: "The service did not answer. Is it running, and is your network up?",
  notJson: "The answer is not what this service sends. Is there a proxy in between?",
  upload: (name) => `${name} was not uploaded`,
  errors: {
    400: "Invalid request", 401: "An API key is needed", 403: "Not allowed", 404: "Not found", 413: "Too large", 429: "Too many requests",
    500: "Server misconfigured. Contact the administrator.", 503: "Not available at the moment",
  },
  error: "Something went wrong",
  bots: {
    "7537334510896185359": "sandbox: answers well",
    "7537334510896180405": "sandbox: thinks first",
    "7537334510896180408": "sandbox: two answers",
    "7537334510896180206": "sandbox: pauses midway",
    "7537334510896180605": "sandbox: talks for ten minutes (stop it)",
    "7537334510896180210": "sandbox: breaks off midway",
    "7537334510896180109": "sandbox: too many requests, 429",
    "7537334510896184015": "sandbox: not published, 400",
    "7537334510896180101": "sandbox: the token lacks a right, 500",
    "7537334510896184028": "sandbox: quota used up, 503",
  },
};

const CHINESE = {
  playground: "体验台", checking: "检查中…", docs: "接口文档", conversation: "对话",
  welcome: "向您的智能体提问吧", welcomeMore: "这里显示用户看到的回答，旁边是前端收到的每一个事件。",
  message: "消息", attachments: "附件", attach: "附件", keys: "Enter 发送 · Shift+Enter 换行 · Esc 停止",
  stop: "停止", send: "发送", settings: "设置", choice: "智能体", bot: "智能体 ID", botHint: "留空则使用服务的默认智能体。",
  user: "用户 ID", key: "API 密钥", keyHint: "API 密钥或用户令牌，保存到关闭标签页为止。", stream: "流式回答", conversationId: "会话 ID", newConversation: "新会话",
  events: "原始事件", clear: "清空", noEvents: "这里显示网络上传输的内容。",
  ready: "服务正常", notReady: "服务未就绪", unreachable: "无法连接服务",
  language: "zh-CN", conversations: "会话", close: "关闭", more: "显示更多",
  noConversations: "您的会话会保存在这里。",
  guest: "访客", you: "您：", theBot: "智能体：", file: "文件", picture: "图片",
  unnamed: "未命名", renameIt: (name) => `重命名：${name}`, deleteIt: (name) => `删除：${name}`, newName: "新名称",
  deleteTitle: "删除这个会话？", deleteWhat: (name) => `“${name}”及其消息也会在扣子上删除，无法恢复。`, deleted: "已删除。",
  cancel: "取消", delete: "删除",
  opening: "正在打开会话…", opened: (name) => `已打开：${name}`, earlier: "更早的消息",
  gone: "该会话已不存在，已为您新建会话。",
  goesOn: "会话继续。此前的内容未保存在这里。",
  like: "回答得好", unlike: "回答得不好", rateAnswer: "评价回答",
  placeholder: "输入消息…", askAbout: "就文件提问…", attachHint: "添加附件：选择、拖入或粘贴",
  starters: ["您好，请介绍一下自己", "您能做什么？"],
  copyAnswer: "复制回答", copyIt: (text) => `复制 ${text}`, askAgain: "再问一次", editQuestion: "编辑问题", copyAs: "复制请求为",
  enterKey: "输入密钥", needsWords: "请输入与文件有关的问题后再发送。", newest: "↓ 最新消息", dropHere: "将文件拖放到这里",
  tooLong: (count, most) => `已输入 ${count.toLocaleString("zh-CN")} 个字符，最多可发送 ${most.toLocaleString("zh-CN")} 个。`,
  copy: "复制", copied: "已复制", notCopied: "未能复制：浏览器不允许", table: "表格",
  showPicture: (name, host) => `${name ? `${name}：` : ""}显示来自 ${host} 的图片`,
  pictures: "显示回答中来自其他网站的图片",
  thinking: "思考过程", nothing: "智能体没有回答任何内容。", moreCharacters: (count) => `（还有 ${count} 个字符）`,
  reconnecting: "正在重新连接…",
  answering: "智能体正在回答。", answered: "智能体回答：", stopped: "已停止",
  tokens: (all, into, out) => `${all} Token（输入 ${into}，输出 ${out}）`,
  uploading: "上传中…", remove: (name) => `移除 ${name}`, retry: "重试", retryIn: (s) => `${s} 秒后可重试`,
  waitLong: (minutes) => `请约 ${minutes} 分钟后重试。`,
  requestId: "请求编号",
  tooBig: (name) => `${name} 超过 10 MiB 的上传上限。`, empty: (name) => `${name} 是空文件。`,
  brokeOff: "回答中断", lost: "回答未完成，连接已断开。",
  offline: "没有连接", offlineMore: "服务没有应答。请检查服务是否在运行、网络是否正常。",
  notJson: "收到的不是本服务的应答，中间是否有代理？",
  upload: (name) => `${name} 上传失败`,
  errors: {
    400: "请求有误", 401: "需要 API 密钥", 403: "不允许", 404: "未找到", 413: "内容过大", 429: "请求过多", 500: "需要运维人员处理", 503: "服务暂时不可用",
  },
  error: "出错了",
  bots: {
    "7537334510896185359": "沙盒：正常回答",
    "7537334510896180405": "沙盒：先思考再回答",
    "7537334510896180408": "沙盒：两个回答",
    "7537334510896180206": "沙盒：中途停顿",
    "7537334510896180605": "沙盒：连说十分钟（试试停止）",
    "7537334510896180210": "沙盒：中途断开",
    "7537334510896180109": "沙盒：请求过多，429",
    "7537334510896184015": "沙盒：未发布，400",
    "7537334510896180101": "沙盒：令牌缺少权限，500",
    "7537334510896184028": "沙盒：额度用尽，503",
  },
};

export const chinese = /^zh\b/i.test(navigator.language);
export const texts = chinese ? CHINESE : ENGLISH;

const clock = new Intl.DateTimeFormat(texts.language, { hour: "2-digit", minute: "2-digit" });
const calendar = new Intl.DateTimeFormat(texts.language, { dateStyle: "medium" });

/** When something was: today by the clock, before that the day. */
export function whenOf(date) {
  return (date.toDateString() === new Date().toDateString() ? clock : calendar).format(date);
}

/** Puts the texts into the page's fixed parts. */
export function translate(root) {
  root.lang = chinese ? "zh-CN" : "en";
  for (const element of root.querySelectorAll("[data-text]")) {
    element.textContent = texts[element.dataset.text] ?? element.textContent;
  }
  for (const [data, attribute] of [["placeholder", "placeholder"], ["title", "title"], ["label", "aria-label"]]) {
    for (const element of root.querySelectorAll(`[data-${data}]`)) {
      const text = texts[element.dataset[data]];
      if (text) element.setAttribute(attribute, text);
    }
  }
  if (chinese) document.title = "体验台 · Coze SDK RESTful API";
}
