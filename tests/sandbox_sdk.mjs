// Coze's official JavaScript SDK against a running sandbox: node tests/sandbox_sdk.mjs http://127.0.0.1:2027
// Needs @coze/api where node finds it (npm install @coze/api). Exits non-zero on any mismatch.
import assert from 'node:assert/strict';
import { createReadStream, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ChatEventType, ChatStatus, CozeAPI, RoleType } from '@coze/api';

const baseURL = process.argv[2];
const bot_id = '7537334510896185359';
const client = new CozeAPI({ token: 'pat_sandbox_test', baseURL });
const question = (content, content_type = 'text') => ({ role: RoleType.User, content, content_type });

async function streamed(additional_messages) {
  let text = '';
  let completed;
  for await (const { event, data } of client.chat.stream({ bot_id, user_id: 'js', additional_messages })) {
    if (event === ChatEventType.CONVERSATION_MESSAGE_DELTA) text += data.content;
    if (event === ChatEventType.CONVERSATION_CHAT_COMPLETED) completed = data;
  }
  assert.equal(completed.status, ChatStatus.COMPLETED);
  assert.ok(completed.usage.token_count > 0);
  return text;
}

assert.equal(await streamed([question('The sky is blue.')]), 'You said: The sky is blue.');

const polled = await client.chat.createAndPoll({ bot_id, user_id: 'js', additional_messages: [question('天空')] });
assert.equal(polled.chat.status, ChatStatus.COMPLETED);
assert.ok(polled.messages.some((message) => message.type === 'answer' && message.content === '您说的是：天空'));

// In Node the SDK takes a file only as a read stream.
const folder = mkdtempSync(join(tmpdir(), 'sandbox-'));
const path = join(folder, 'notes 说明.txt');
writeFileSync(path, 'some text');
const file = await client.files.upload({ file: createReadStream(path) });
rmSync(folder, { recursive: true });
assert.equal(file.bytes, 9);
const parts = JSON.stringify([{ type: 'text', text: 'what is it?' }, { type: 'file', file_id: file.id }]);
assert.match(await streamed([question(parts, 'object_string')]), /notes 说明\.txt \(9 bytes, text file\)/);

const hanging = { bot_id: '7537334510896180203', user_id: 'js', additional_messages: [question('x')] };
const running = await client.chat.create(hanging);
assert.equal((await client.chat.cancel(running.conversation_id, running.id)).status, ChatStatus.CANCELED);

assert.ok((await client.users.me()).user_id);
assert.equal((await client.workspaces.list({})).total_count, 3);
const conversation = await client.conversations.create({ meta_data: { k: 'v' } });
assert.deepEqual(conversation.meta_data, { k: 'v' });
const ids = (rows) => rows.map((row) => row.id);
const others = [];
for (const name of ['one', 'two']) others.push(await client.conversations.create({ bot_id, name }));
const listed = await client.conversations.list({ bot_id, page_num: 1, page_size: 2 });
assert.deepEqual(ids(listed.conversations), ids(others).reverse());
assert.equal(listed.has_more, true);
await client.chat.createAndPoll({
  bot_id,
  user_id: 'js',
  conversation_id: others[0].id,
  additional_messages: [question('The sky is blue.')],
});
const page = await client.conversations.messages.list(others[0].id, { limit: 1 });
assert.equal(page.data[0].content, 'You said: The sky is blue.');
assert.equal(page.has_more, true);
const rest = await client.conversations.messages.list(others[0].id, { after_id: page.last_id });
assert.deepEqual(rest.data.map((message) => message.type), ['question']);
const message = await client.conversations.messages.retrieve(others[0].id, page.last_id);
assert.deepEqual(message, page.data[0]);
const section = await client.conversations.clear(others[0].id);
assert.equal((await client.conversations.retrieve(others[0].id)).last_section_id, section.id);

const [workspace] = (await client.workspaces.list({})).workspaces;
const bots = await client.bots.listNew({ workspace_id: workspace.id });
assert.equal(bots.items.length, 20);
const described = await client.bots.retrieveNew(bot_id);
assert.equal(described.name, bots.items.find((bot) => bot.id === bot_id).name);
assert.ok(described.onboarding_info.prologue);
assert.deepEqual(await client.bots.retrieve({ bot_id }), described);
await assert.rejects(client.chat.create({ ...hanging, bot_id: '7537334510896184015' }), { code: 4015 });
console.log('the JavaScript SDK agrees');
