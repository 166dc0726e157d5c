-- Writes the terminal state of a job, once. Returns 1, or 0 if the claim is void.
-- KEYS: job, shard, leases, deadlines
-- ARGV: prefix, id, ref, fence, state, now as ISO 8601, fence of the manifest, bytes of all artifacts, error as JSON or '',
-- progress: done, total, unit, then the job as JSON, without what only a job that has not ended needs
local job, shard, leases, deadlines = unpack(KEYS)
local prefix, id, ref, fence, final_state, now, manifest, bytes, problem, done, total, unit, document = unpack(ARGV)
local state, current_fence = unpack(redis.call('HMGET', shard, 'state', 'fence'))
if state ~= 'running' or current_fence ~= fence then return 0 end
local shards = tonumber(redis.call('HGET', job, 'shares'))
for number = 0, shards do redis.call('DEL', prefix .. 'share:' .. id .. ':' .. number) end
redis.call('HSET', job, 'job', document, 'finished_at', now, 'manifest', manifest, 'bytes', bytes, 'done', done,
  'total', total, 'unit', unit)
if problem ~= '' then redis.call('HSET', job, 'error', problem) end
local fields = redis.call('HMGET', job, 'tenant', 'targets', 'counted_shards')
local tenant, targets, counted_shards = fields[1] or 'default', fields[2] or 0, fields[3] or 0
redis.call('DECRBY', prefix .. 'targets:' .. tenant, targets)
redis.call('DECRBY', prefix .. 'targets:' .. tenant .. ':shards', counted_shards)
redis.call('INCRBY', prefix .. 'stored:' .. tenant, bytes)
redis.call('HDEL', job, 'cancel', 'left', 'running', 'size', 'targets', 'shares', 'fence', 'lane', 'priority', 'after', 'counted_shards',
  'tenant_share')
redis.call('ZREM', leases, ref)
redis.call('ZREM', deadlines, id)
move(prefix, id, final_state)
return 1
