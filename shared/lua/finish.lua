-- Writes the terminal state, once, for whoever holds the fence. 0: it is not theirs to write.
-- KEYS: job, share, leases, deadlines, index of running, index of the terminal state
-- ARGV: prefix, id, ref, fence, state, now as ISO 8601, fence of the manifest, error as JSON or ''
local job, share, leases, deadlines, running, ended = unpack(KEYS)
local prefix, id, ref, fence, state, now, manifest, problem = unpack(ARGV)
local held = redis.call('HMGET', share, 'state', 'fence')
if held[1] ~= 'running' or held[2] ~= fence then return 0 end
local shares = tonumber(redis.call('HGET', job, 'shares'))
for number = 0, shares do redis.call('DEL', prefix .. 'share:' .. id .. ':' .. number) end
redis.call('HSET', job, 'state', state, 'finished_at', now, 'manifest', manifest)
if problem ~= '' then redis.call('HSET', job, 'error', problem) end
redis.call('HDEL', job, 'cancel', 'left', 'running', 'size')
redis.call('ZREM', leases, ref)
redis.call('ZREM', deadlines, id)
redis.call('ZREM', running, id)
redis.call('ZADD', ended, 0, id)
return 1
