-- What the server says of itself, as INFO does; nothing where it is not allowed to say it.
-- KEYS: 1 any key of the namespace, which leads to the right server of a cluster.
local told = ''
for _, section in ipairs({'server', 'memory'}) do
  local said = redis.pcall('INFO', section)
  if type(said) == 'string' then told = told .. said end
end
return told
