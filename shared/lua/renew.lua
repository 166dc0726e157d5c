-- Extends the lease of whoever holds the fence and notes progress. -1: the job is no longer theirs; 1: cancel it.
-- KEYS: job, leases   ARGV: id, fence, lease in ms, done, total, unit
local job, leases = unpack(KEYS)
local id, fence, lease, done, total, unit = unpack(ARGV)
local held = redis.call('HMGET', job, 'state', 'fence', 'cancel')
if held[1] ~= 'running' or held[2] ~= fence then return -1 end
local time = redis.call('TIME')
redis.call('ZADD', leases, time[1] * 1000 + math.floor(time[2] / 1000) + lease, id)
if tonumber(total) > 0 then redis.call('HSET', job, 'done', done, 'total', total, 'unit', unit) end
return held[3] and 1 or 0
