import { createApp } from "vue";
import Chat from "./Chat.vue";
import "../../javascript/chat.css";

createApp(Chat).mount("#app");
