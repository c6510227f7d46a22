#!/bin/sh
# cURL: `sh curl/chat.sh [URL]`
set -eu
url=${1:-http://127.0.0.1:2026}

echo "== Health"
curl -sS "$url/health"

echo; echo "== Chat"
curl -sS "$url/api/v1/chat" -H 'Content-Type: application/json' -d '{
  "user_id": "user123",
  "messages": [{"role": "user", "content": "你好，请介绍一下自己"}]
}'

echo; echo "== Chat, streamed (-N shows each event at once)"
curl -sSN "$url/api/v1/chat" -H 'Content-Type: application/json' -d '{
  "user_id": "user123",
  "messages": [{"role": "user", "content": "Hello"}],
  "stream": true
}'

echo "== Upload a file"
file=$(mktemp)
trap 'rm -f "$file"' EXIT
echo 'some notes' >"$file"
curl -sS "$url/api/v1/upload" -F "file=@$file;filename=notes.txt" -F 'description=My notes' | tee "$file.json"
file_id=$(sed 's/.*"file_id":"\([^"]*\)".*/\1/' "$file.json")
rm -f "$file.json"

echo; echo "== Ask about it"
curl -sS "$url/api/v1/chat" -H 'Content-Type: application/json' -d '{
  "user_id": "user123",
  "messages": [{
    "role": "user",
    "content_type": "object_string",
    "content": "[{\"type\":\"text\",\"text\":\"What is in this file?\"},{\"type\":\"file\",\"file_id\":\"'"$file_id"'\"}]"
  }]
}'

echo; echo "== An error: its status, its message, and the id to quote"
curl -sS -w '\nHTTP %{http_code}, %header{x-request-id}\n' "$url/api/v1/chat" -H 'Content-Type: application/json' -d '{
  "bot_id": "1",
  "user_id": "user123",
  "messages": [{"role": "user", "content": "Hello"}]
}'

echo "== The account, its workspaces, the configuration"
curl -sS "$url/api/v1/user/info"; echo
curl -sS "$url/api/v1/workspaces"; echo
curl -sS "$url/api/v1/config"; echo
