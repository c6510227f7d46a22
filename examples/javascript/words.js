// What the page says in English and Chinese, and what it says of a failure by its `code`.
const EN = {
  lang: "en", title: "Chat", startNew: "New chat", message: "Message", file: "File", send: "Send", stop: "Stop",
  thinking: "Thinking", lost: "Connecting again…", retry: "Try again",
  wait: (seconds) => `Try again in ${seconds > 90 ? `${Math.ceil(seconds / 60)} min` : `${seconds} s`}`,
};
const ZH = {
  lang: "zh-CN", title: "对话", startNew: "新对话", message: "消息", file: "文件", send: "发送", stop: "停止",
  thinking: "思考过程", lost: "正在重新连接…", retry: "重试",
  wait: (seconds) => `${seconds > 90 ? `${Math.ceil(seconds / 60)} 分钟` : `${seconds} 秒`}后可重试`,
};
const isChinese = navigator.language.startsWith("zh");
export const words = isChinese ? ZH : EN;

/** What a person can do something about. The rest has the service's own message, which is English. */
const ERRORS = [
  [["unreachable"], "The service cannot be reached. Are you online?", "无法连接服务，请检查网络。"],
  [["connection_lost", "coze_broke_off", "chat_cancelled", "answer_stopped", "answer_not_found"], "The answer broke off.", "回答中断了。"],
  [["no_answer"], "The bot gave no answer.", "智能体没有给出回答。"],
  [["rate_limited", "coze_rate_limited", "user_limit_reached", "coze_busy", "too_many_answers"], "Too many questions just now.", "提问过于频繁，请稍候。"],
  [["service_full", "service_busy", "service_unavailable", "answers_full"], "The service is busy just now.", "服务繁忙，请稍候。"],
  [["service_stopping"], "The service is being restarted.", "服务正在重启，请稍候。"],
  [["coze_unreachable", "coze_timeout", "coze_unavailable"], "Coze does not answer just now.", "扣子暂时没有应答。"],
  [["coze_quota_exceeded"], "The quota for answers is used up.", "额度已用完。"],
  [["conversation_busy"], "The bot is still answering your last question.", "智能体正在回答上一个问题。"],
  [["conversation_not_found"], "This conversation does not exist any more.", "该会话已不存在。"],
  [["conversation_too_long", "too_many_messages"], "This conversation is too long. Begin a new one.", "会话过长，请开始新对话。"],
  [["content_refused", "risk_control_refused"], "Coze does not take this content.", "内容未通过审核。"],
  [["file_too_large", "body_too_large"], "This is too large. A file may have 10 MB.", "内容过大，文件不能超过 10 MB。"],
  [["file_type_refused", "file_misnamed"], "This kind of file cannot be used.", "不支持该类型的文件。"],
  [["invalid_request", "coze_rejected", "message_invalid"], "This cannot be asked as it is.", "该内容无法提交。"],
  [["file_missing"], "This file does not exist any more.", "该文件已不存在。"],
  [["bot_not_published", "bot_not_found", "default_bot_unusable"], "This bot is not published.", "该智能体尚未发布。"],
];

export function explained({ code, message }) {
  const row = ERRORS.find(([codes]) => codes.includes(code));
  if (row) return row[isChinese ? 2 : 1];
  return isChinese ? "服务出错了，请联系管理员。" : message;
}
