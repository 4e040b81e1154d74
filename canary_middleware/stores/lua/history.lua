-- The whole history, newest first, without lines that are too long to be ours, and without the oldest
-- ones where it would be too much to answer.
local MAX_LINE, MAX_ANSWER = 65536, 16777216
if kind(KEYS[2]) ~= 'list' then return {} end
local lines, size = {}, 0
for _, line in ipairs(redis.call('LRANGE', KEYS[2], 0, HISTORY - 1)) do
  if #line <= MAX_LINE then
    size = size + #line
    if size > MAX_ANSWER then break end
    lines[#lines + 1] = line
  end
end
return lines
