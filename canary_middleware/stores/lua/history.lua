-- The whole history, newest first, without lines that are too long to be ours.
if kind(KEYS[2]) ~= 'list' then return {} end
local lines = {}
for _, line in ipairs(redis.call('LRANGE', KEYS[2], 0, HISTORY - 1)) do
  if #line <= 16384 then lines[#lines + 1] = line end
end
return lines
