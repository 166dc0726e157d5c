-- Writes the terminal state, once, for whoever holds the fence. 0: it is not theirs to write.
-- KEYS: job, leases, index of running, index of the terminal state   ARGV: id, fence, state, now as ISO 8601
local job, leases, running, ended = unpack(KEYS)
local id, fence, state, now = unpack(ARGV)
local held = redis.call('HMGET', job, 'state', 'fence')
if held[1] ~= 'running' or held[2] ~= fence then return 0 end
redis.call('HSET', job, 'state', state, 'finished_at', now)
redis.call('ZREM', leases, id)
redis.call('ZREM', running, id)
redis.call('ZADD', ended, 0, id)
return 1
