-- Takes a queued job: running, one attempt more, a higher fence, a lease. Nothing if it is not queued.
-- KEYS: job, leases, pending, index of queued, index of running   ARGV: id, owner, lease in ms, now as ISO 8601
local job, leases, pending, queued, running = unpack(KEYS)
local id, owner, lease, now = unpack(ARGV)
if redis.call('HGET', job, 'state') ~= 'queued' then return false end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
-- By the clock, so that a fence is not handed out again after Redis was wiped.
local fence = string.format('%d', math.max(tonumber(redis.call('HGET', job, 'fence')) + 1, now_ms))
local attempt = redis.call('HINCRBY', job, 'attempt', 1)
redis.call('HSET', job, 'state', 'running', 'owner', owner, 'fence', fence)
redis.call('HSETNX', job, 'started_at', now)
redis.call('ZADD', leases, now_ms + lease, id)
redis.call('ZREM', pending, id)
redis.call('ZREM', queued, id)
redis.call('ZADD', running, 0, id)
return {tonumber(fence), attempt}
