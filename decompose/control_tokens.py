"""The control tokens of the chat formats in use, dropped from a text whose reader's tokenizer is unknown.

A text is matched as it looks: brackets, bars and letters that are taken for ASCII's count as those, and what no screen
shows counts as nothing. What does not match stays as it was written, for NFKC would change mathematics.
"""

from __future__ import annotations

import unicodedata

from ..core.strip import Without

UNSEEN = "\u034f\u115f\u1160\u17b4\u17b5\u2065\u2800\u3164\uffa0"
"""Fillers that no screen shows though Unicode does not call them control or format characters."""
_INVISIBLE = ("Cc", "Cf", "Mn", "Me")
_LOOK_ALIKES = {
    "<": "\uff1c\ufe64\u27e8\u27ea\u3008\u2329\u02c2\u1438\u276c\u276e\u2770\u29fc\u2991\u2993\U0001d236",
    ">": "\uff1e\ufe65\u27e9\u27eb\u3009\u232a\u02c3\u1433\u276d\u276f\u2771\u29fd\u2992\u2994\U0001d237",
    "\N{LEFT-POINTING DOUBLE ANGLE QUOTATION MARK}": "\u2039\u226a\u300a",
    "\N{RIGHT-POINTING DOUBLE ANGLE QUOTATION MARK}": "\u203a\u226b\u300b",
    "[": "\uff3b\u3014\u3010\u3016\u3018\u301a\u27e6\u2772\u2045\u298b\u298d\u298f\ufe5d",
    "]": "\uff3d\u3015\u3011\u3017\u3019\u301b\u27e7\u2773\u2046\u298c\u298e\u2990\ufe5e",
    "|": (
        "\u2223\u2502\u2503\u2506\u2507\u250a\u250b\u254e\u254f\u2551\uffe8\uffe4\u01c0\u01c1\u23d0\u2758"
        "\u2759\u275a\u239c\u239f\u23a2\u23a5\u23aa\u23ae\u00a6\u05c0\u0964\u4e28\u3021\u2f01\ufe31\ufe33"
        "\u2016\u2225\u2980\u2e21\u2e3e"
    ),
    "_": "\u2581\uff3f\u2017\ufe4d\ufe4e\ufe4f\u02cd\u23bd",
    "/": "\uff0f\u2044\u2215\u29f8\u2571\u27cb",
    ":": "\uff1a\ufe55\u2236\ua789\u02d0",
    "-": "\uff0d\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63",
}
"""Characters that are taken for another. Quotation marks stand for themselves: around a word they are no brackets."""
_LETTERS = {  # of Cyrillic and of Greek
    "aceopsxyijkAB": "\u0430\u0441\u0435\u043e\u0440\u0455\u0445\u0443\u0456\u0458\u043a\u0410\u0412",
    "CEHIJKMOPSTXY": "\u0421\u0415\u041d\u0406\u0408\u041a\u041c\u041e\u0420\u0405\u0422\u0425\u0423",
    "ovABEZHIKMNOP": "\u03bf\u03bd\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1",
    "TXY": "\u03a4\u03a7\u03a5",
}


class _Read(dict[int, str | None]):
    """How a character is read, for `str.translate`; worked out when it is first seen."""

    def __missing__(self, code: int) -> str | None:
        character = chr(code)
        if character in UNSEEN or (unicodedata.category(character) in _INVISIBLE and not character.isspace()):
            read: str | None = None
        else:
            plain = unicodedata.normalize("NFKC", character)
            read = plain if len(plain) == 1 and plain.isascii() and plain != "|" else character
        self[code] = read
        return read


_READ = _Read({ord(each): plain for plain, written in _LOOK_ALIKES.items() for each in written})
_READ |= {ord(each): as_ for plain, written in _LETTERS.items() for as_, each in zip(plain, written, strict=True)}

_CONTROL = Without(
    r"""(?xi:
      [<«]¦"¦[>»] | [<«]¦/?_?[^\W\d_]{2}[\w.:/-]{1,60}¦[>»]  # ChatML, Llama 3, Phi, GLM, gpt-oss
    | [<«]/?\uff5c_?[a-z][a-z_\ ]{2,60}\uff5c[>»] | </?¦dsml¦[^<>\n]{0,80}>  # DeepSeek, with a fullwidth bar
    | <¦[a-z]\w{2,30}> | <[a-z]\w{2,30}¦>  # Gemma 4
    | \[¦/?(?:[^\W\d_]{4}[\w.:/-]{0,40}|end|eos|bos|eot|pad|sep|sys|bot|ai)¦\]  # EXAONE, BlueLM
    | (?:<<|«)/?sys(?:>>|») | \[/?inst\] | </?(?-i:s)>  # Llama 2, Mistral
    | \[/?(?:available_tools|tool_(?:calls|results|content)|system_prompt|model_settings|call_id)\]
    | \[(?:img_break|img_end|begin_audio)\] | \[/?(?-i:THINK|ARGS|IMG|AUDIO|TRANSCRIBE|PREFIX|MIDDLE|SUFFIX)\]
    | \[(?-i:BOS|EOS|EOT|PAD|UNK|SEP|CLS|MASK)\] | \[[gs](?-i:MASK)\]  # Kimi, BERT, GLM
    | \[(?:unused|control_|reference_doc_)\d{1,4}\]  # Pangu
    | </?(?:\w{1,12}:)?(?:bos|eos|pad|unk|mask|sep|cls|eod|sop|so[imt]|eo[acdhimprstu]|bo[imt]|think|thinking)
        (?:_token|_id|[_:]?\d{1,3})?>
    | </?longcat_\w{1,30}> | </?seed:\w{2,40}> | </?_(?:user|bot|end|system|start|tool)> | </?role>  # TeleChat, Ling
    | <用户> | <(?-i:AI)>  # MiniCPM
    | <(?:begin|start|end)_of_[a-z]{2,20}> | </?(?:image|video|audio|img)(?:_?[a-z]{2,20}){0,2}>  # Gemma, Qwen-VL
    | </?(?:ref|box|quad)> | <fake_token_around_image> | <(?:loc|seg)\d{3,4}> | <0x[0-9a-f]{2}>
    | <(?:tokens_)?(?:unused|reserved|special|extra_id)_?\d{1,4}> | <fim[_-](?:prefix|middle|suffix|pad)>
    | <(?:filename|file_sep|repo_?name|gh_stars|empty_output|(?:issue|jupyter|commit)_[a-z]{2,15})>  # StarCoder
    | >>(?-i:TITLE|ABSTRACT|INTRODUCTION|SUMMARY|COMMENT|ANSWER|QUESTION|DOMAIN|PREFIX|SUFFIX|MIDDLE)<<  # Falcon
    | </?(?:\w{1,12}:)?(?:tools?|functions?|available_tools|tool_(?:list|def)|invoke|parameters?|arg_(?:key|value)
        |(?:tool|function)_?(?:call|use|result|response|output)s?
        )(?:(?:\s+\w{1,12})?=[^<>\n]{0,60})?>  # Qwen, Hermes, GLM, DeepSeek, Nemotron
    | \]~!?b[\[\]] | \[e~\[ | \]!p~\[ | \]<\][a-z\ ]{2,30}\[>\[  # MiniMax
    )""".replace("¦", r"[|\uff5c]"),
    longest=150,
    closing=">»][<",
    read=_READ,
)


def drop_control_tokens(text: str) -> str:
    """A text without control tokens, and without those that dropping one would leave."""
    return _CONTROL(text)
