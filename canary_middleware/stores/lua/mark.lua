-- A kill while the state is unreadable: the plain kill key needs no state. ARGV: reason, channel,
-- a document with nothing but the kill, for the case that even the key cannot be written.
-- Returns why it was not written, or false.
local written = redis.pcall('SET', KEYS[3], ARGV[1])
local refused = written.err or false
-- An empty push says "look at the store".
redis.pcall('PUBLISH', ARGV[2], refused and ARGV[3] or '')
return refused
