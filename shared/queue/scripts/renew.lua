-- Extends the lease of a claim and stores the progress of its shard.
-- Returns -1 if the claim is void, else why the job must be cancelled, or ''.
-- KEYS: job, shard, leases   ARGV: prefix, id, ref, fence, progress of the shard: done, total, unit
local job, shard, leases = unpack(KEYS)
local prefix, id, ref, fence, done, total, unit = unpack(ARGV)
local fields = redis.call('HMGET', shard, 'state', 'fence', 'done', 'size')
local state, current_fence, last_done, size = fields[1], fields[2], fields[3], fields[4]
if state ~= 'running' or current_fence ~= fence then return -1 end
redis.call('ZINCRBY', leases, 1, ref)
if tonumber(total) > 0 then
  local job_fields = redis.call('HMGET', job, 'size', 'shares', 'total', 'unit')
  local job_size, shards, last_total, last_unit = job_fields[1], job_fields[2], job_fields[3], job_fields[4]
  local job_total = shards == '1' and total or tostring(math.floor(total * job_size / size + 0.5))
  -- Only what has changed, because every change is written to the append-only file.
  if job_total ~= last_total or unit ~= last_unit then redis.call('HSET', job, 'total', job_total, 'unit', unit) end
  if done ~= last_done then
    redis.call('HINCRBY', job, 'done', done - (last_done or 0))
    redis.call('HSET', shard, 'done', done)
    emit(prefix, id, 'job.progress')
  end
end
return redis.call('HGET', job, 'cancel') or ''
