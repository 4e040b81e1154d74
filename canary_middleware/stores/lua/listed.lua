-- KEYS: claims. Returns {text, milliseconds left, ...}; false for what is none.
local found = {}
for i, key in ipairs(KEYS) do
  local text = redis.pcall('GETRANGE', key, 0, 127)
  found[2 * i - 1] = type(text) == 'string' and text
  found[2 * i] = redis.call('PTTL', key)
end
return found
