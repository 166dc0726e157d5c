-- Gives a job whose lease has run out back to the queue. 0: somebody renewed it, or it has ended.
-- KEYS: job, leases, pending, index of running, index of queued   ARGV: id
local job, leases, pending, running, queued = unpack(KEYS)
local id = ARGV[1]
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local until_ms = redis.call('ZSCORE', leases, id)
if not until_ms or tonumber(until_ms) > now_ms then return 0 end
redis.call('ZREM', leases, id)
if redis.call('HGET', job, 'state') ~= 'running' then return 0 end
redis.call('HINCRBY', job, 'fence', 1)
redis.call('HSET', job, 'state', 'queued')
redis.call('ZREM', running, id)
redis.call('ZADD', queued, 0, id)
redis.call('ZADD', pending, now_ms, id)
return 1
