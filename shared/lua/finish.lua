-- Writes the terminal state, once, for whoever holds the fence. 0: it is not theirs to write.
-- KEYS: job, share, leases, deadlines
-- ARGV: prefix, id, ref, fence, state, now as ISO 8601, fence of the manifest, bytes of all artefacts, error as JSON or '',
-- progress: done, total, unit
local job, share, leases, deadlines = unpack(KEYS)
local prefix, id, ref, fence, state, now, manifest, bytes, problem, done, total, unit = unpack(ARGV)
local held = redis.call('HMGET', share, 'state', 'fence')
if held[1] ~= 'running' or held[2] ~= fence then return 0 end
local shares = tonumber(redis.call('HGET', job, 'shares'))
for number = 0, shares do redis.call('DEL', prefix .. 'share:' .. id .. ':' .. number) end
redis.call('HSET', job, 'finished_at', now, 'manifest', manifest, 'bytes', bytes, 'done', done,
  'total', total, 'unit', unit)
if problem ~= '' then redis.call('HSET', job, 'error', problem) end
local facts = redis.call('HMGET', job, 'tenant', 'targets')
redis.call('DECRBY', prefix .. 'targets:' .. (facts[1] or 'default'), facts[2] or 0)
redis.call('INCRBY', prefix .. 'stored:' .. (facts[1] or 'default'), bytes)
redis.call('HDEL', job, 'cancel', 'left', 'running', 'size', 'targets')
redis.call('ZREM', leases, ref)
redis.call('ZREM', deadlines, id)
move(prefix, id, state)
return 1
