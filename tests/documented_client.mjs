// The JavaScript that the API's documentation shows: its client class, its parser of streams included, and how its
// React and Vue examples use it. `node documented_client.mjs URL` plays them all and prints what came back, as JSON.

const BOT = '7537334510896185359';

class CozeAPI {
  constructor(baseURL) {
    this.baseURL = baseURL;
  }

  async post(path, body, headers) {
    const response = await fetch(`${this.baseURL}${path}`, { method: 'POST', headers, body });
    if (!response.ok) {
      throw new Error(`HTTP error! status: ${response.status}`);
    }
    return response;
  }

  postChat(botId, userId, messages, conversationId, stream) {
    const body = { bot_id: botId, user_id: userId, messages, conversation_id: conversationId, stream };
    return this.post('/api/v1/chat', JSON.stringify(body), { 'Content-Type': 'application/json' });
  }

  async chat(botId, userId, messages, options = {}) {
    const response = await this.postChat(botId, userId, messages, options.conversationId, options.stream || false);
    return await response.json();
  }

  // Nothing is carried over from one chunk to the next: an event that is split between two of them is lost.
  async chatStream(botId, userId, messages, onMessage, options = {}) {
    const response = await this.postChat(botId, userId, messages, options.conversationId, true);
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    try {
      while (true) {
        const { done, value } = await reader.read();
        if (done) break;
        for (const line of decoder.decode(value).split('\n')) {
          if (line.startsWith('data: ')) {
            try {
              const data = JSON.parse(line.slice(6));
              onMessage(data);
              if (data.type === 'end') return;
            } catch (error) {
              parseErrors.push(String(error));
            }
          }
        }
      }
    } finally {
      reader.releaseLock();
    }
  }

  async uploadFile(file, description) {
    const formData = new FormData();
    formData.append('file', file);
    if (description) {
      formData.append('description', description);
    }
    return await (await this.post('/api/v1/upload', formData)).json();
  }

  async get(path) {
    return await (await fetch(`${this.baseURL}${path}`)).json();
  }

  healthCheck() {
    return this.get('/health');
  }

  getUserInfo() {
    return this.get('/api/v1/user/info');
  }

  getWorkspaces() {
    return this.get('/api/v1/workspaces');
  }
}

const parseErrors = [];
const api = new CozeAPI(process.argv[2]);
const question = (content) => [{ role: 'user', content }];

async function streamed(botId, content) {
  const events = [];
  await api.chatStream(botId, 'js_stream', question(content), (event) => events.push(event));
  return events;
}

// A component's state is what it was at the last rendering: the reply's bubble is not in what is sent.
async function react(inputs) {
  let messages = [];
  let conversationId = null;
  for (const input of inputs) {
    const user = { role: 'user', content: input };
    const bubble = { role: 'assistant', content: '' };
    const rendered = messages;
    messages = [...messages, user, bubble];
    await api.chatStream(BOT, 'js_react', [...rendered, user], (data) => {
      if (data.type === 'message_delta') {
        bubble.content += data.content;
      } else if (data.type === 'chat_completed') {
        conversationId = data.conversation_id;
      }
    }, { conversationId });
  }
  return { messages, conversationId };
}

// Vue 3 gives out proxies, none of which is the plain object it is compared with: the empty bubble is sent along.
async function vue(inputs) {
  const state = { messages: [], conversationId: null };
  for (const input of inputs) {
    state.messages.push({ role: 'user', content: input });
    const bubble = { role: 'assistant', content: '' };
    state.messages.push(new Proxy(bubble, {}));
    await api.chatStream(BOT, 'js_vue', state.messages.filter((message) => message !== bubble), (data) => {
      if (data.type === 'message_delta') {
        state.messages[state.messages.length - 1].content += data.content;
      } else if (data.type === 'chat_completed') {
        state.conversationId = data.conversation_id;
      }
    }, { conversationId: state.conversationId });
  }
  return state;
}

// Node reads up to 64 KiB at a time. A stream shorter than that is never split, however late it is read; a longer one
// might be where the bot does not pause and the reader does.
const long = '请把这句话完整地说一遍，一个字也不要漏，表情符号🎉也算。'.repeat(30);
const text = new File(['一些文字'], '说明 notes.txt', { type: 'text/plain' });
const uploaded = await api.uploadFile(text, '用户上传的文档');
const parts = [{ type: 'text', text: '里面有什么？' }, { type: 'file', file_id: uploaded.file_id }];
const results = {
  chat: await api.chat(BOT, 'js_chat', question('你好')),
  longChat: await api.chat(BOT, 'js_chat', question(long)),
  longStream: await streamed(BOT, long),
  slowStream: await streamed('7537334510896180604', 'n=300 d=0.002 size=8'),
  refused: await api.chat('1', 'js_chat', question('你好')).catch((error) => error.message),
  refusedStream: await streamed('1', '你好').catch((error) => error.message),
  react: await react(['我叫小明', '我叫什么？']),
  vue: await vue(['我住在北京', '我住在哪里？']),
  uploaded,
  uploadedWithoutDescription: await api.uploadFile(text),
  aboutFile: await api.chat(BOT, 'js_file', [
    { role: 'user', content: JSON.stringify(parts), content_type: 'object_string' },
  ]),
  health: await api.healthCheck(),
  user: await api.getUserInfo(),
  workspaces: await api.getWorkspaces(),
  parseErrors,
};
console.log(JSON.stringify(results));
