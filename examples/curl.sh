#!/bin/sh
# The endpoint by hand. As it is, it asks `divcon serve --decomposer runs/miniature/decomposer --local miniature/llm`.
set -eu
endpoint=${ENDPOINT:-http://127.0.0.1:8000/v1} key=${KEY:-none} model=${MODEL:-llm}
question='Mia has 4 crates of pears. She eats 7 pears. How many pears does Mia have now?'
turns='[{"role": "user", "content": "'$question'"}]'

ask() { # the fields of a body besides its model and messages, and options of curl
    fields=$1; shift
    curl --silent --show-error --fail-with-body "$endpoint/chat/completions" "$@" \
        --header "Authorization: Bearer $key" --header 'Content-Type: application/json' \
        --data '{"model": "'"$model"'", "messages": '"$turns"', '"$fields"'}'
    echo
}

ask '"temperature": 0' --include
ask '"temperature": 0, "stream": true' --no-buffer
ask '"temperature": 0' --header 'X-Divcon-Mode: off'
ask '"divcon": {"k": 5}'
