"""Which commands a Redis must let us run, and what its answers to harmless trials say."""

from __future__ import annotations

import re
from typing import Final

TRIALS: Final = (
    ("type", "s"), ("time",), ("set", "s", "1", "PX", "5000"), ("getrange", "s", "0", "1"),
    ("pttl", "s"), ("expire", "s", "5"), ("pexpire", "s", "5000"),
    ("hset", "h", "f", "1"), ("pexpire", "h", "5000"), ("hget", "h", "f"), ("hlen", "h"),
    ("hkeys", "h"), ("hmget", "h", "f"), ("hstrlen", "h", "f"), ("hdel", "h", "f"),
    ("lpush", "l", "1"), ("pexpire", "l", "5000"), ("ltrim", "l", "0", "0"),
    ("lrange", "l", "0", "0"),
    ("zadd", "z", "1", "m"), ("pexpire", "z", "5000"), ("zscore", "z", "m"),
    ("zrangebyscore", "z", "0", "1"), ("zremrangebyrank", "z", "5", "6"), ("zrem", "z", "m"),
    ("publish", "c", ""), ("del", "s"), ("del", "h"), ("del", "l"), ("del", "z"),
)  # fmt: skip
"""What agents and verbs run, on keys of one character each that stand for scratch keys."""

SCRIPT: Final = """
-- KEYS: scratch keys. ARGV: trials as JSON. Returns names and errors in turn.
local at = {s = KEYS[1], h = KEYS[2], l = KEYS[3], z = KEYS[4], c = KEYS[1]}
local told = {}
for _, words in ipairs(cjson.decode(ARGV[1])) do
  local call = {}
  for i, word in ipairs(words) do call[i] = i == 2 and at[word] or word end
  local answer = redis.pcall(unpack(call))
  if type(answer) == 'table' and answer.err then
    told[#told + 1] = words[1]
    told[#told + 1] = answer.err
  end
end
return told
"""
_REFUSED: Final = re.compile(
    r"noperm|no permission|acl failure|can't run|can't access|unknown (?:redis )?command",
    re.IGNORECASE,
)
_CHANNEL: Final = re.compile(r"channel", re.IGNORECASE)


def is_refusal(error: str) -> bool:
    """Whether a command, or the keys that it needs, are forbidden; any other error is none.

    A refused channel is none either: whoever may not publish on that of the trial was let to
    the command, and the real ones are subscribed to.
    """
    return bool(_REFUSED.search(error)) and not _CHANNEL.search(error)
