-- Takes the message that has been due for longest: for a while it is nobody else's. Nothing if none is due.
-- KEYS: outbox   ARGV: for how long, in ms
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local due = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if not due[1] or tonumber(due[2]) > now_ms then return false end
redis.call('ZADD', KEYS[1], now_ms + ARGV[1], due[1])
return due[1]
