-- Extends the lease of whoever holds the fence and notes progress. -1: the share is no longer theirs; else why to
-- cancel the job, or nothing.
-- KEYS: job, share, leases   ARGV: prefix, id, ref, fence, done, total, unit
local job, share, leases = unpack(KEYS)
local prefix, id, ref, fence, done, total, unit = unpack(ARGV)
local held = redis.call('HMGET', share, 'state', 'fence', 'done', 'size')
if held[1] ~= 'running' or held[2] ~= fence then return -1 end
redis.call('ZINCRBY', leases, 1, ref)
if tonumber(total) > 0 then
  local all = redis.call('HMGET', job, 'size', 'shares')
  local whole = all[2] == '1' and total or math.floor(total * all[1] / held[4] + 0.5)
  redis.call('HINCRBY', job, 'done', done - (held[3] or 0))
  redis.call('HSET', share, 'done', done)
  redis.call('HSET', job, 'total', whole, 'unit', unit)
  if done ~= held[3] then tell(prefix, id, 'job.progress') end
end
return redis.call('HGET', job, 'cancel') or ''
