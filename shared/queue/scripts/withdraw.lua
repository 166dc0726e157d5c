-- Cancels a job: removes its waiting shards from the queue and stores the reason, which workers get at their next renewal.
-- If no worker works on the job, the caller claims one of its shards in order to finish the job.
-- Returns number, fence and attempt of that shard, or nothing if there is nothing to finish.
-- KEYS: job, leases   ARGV: prefix, id, why, owner
local job, leases = unpack(KEYS)
local prefix, id, why, owner = unpack(ARGV)
local fields = redis.call('HMGET', job, 'state', 'shares', 'priority')
local state, shards, priority = fields[1], tonumber(fields[2]), fields[3]
if state ~= 'queued' and state ~= 'running' then return false end
redis.call('HSETNX', job, 'cancel', why)
local last
for number = 0, shards do
  local ref = id .. ':' .. number
  local shard = prefix .. 'share:' .. ref
  local shard_fields = redis.call('HMGET', shard, 'state', 'lane', 'section')
  local shard_state, lane, section = unpack(shard_fields, 1, 3)
  if shard_state == 'pending' then
    dequeue(prefix, priority, section or '', lane, ref)
    redis.call('ZREM', prefix .. 'parked', ref)
    redis.call('HSET', shard, 'state', 'ended')
    if number < shards then redis.call('HINCRBY', job, 'left', -1) end
    last = number
  end
end
if not last or tonumber(redis.call('HGET', job, 'running')) > 0 then return false end
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local fence = string.format('%d', math.max(tonumber(redis.call('HGET', job, 'fence')) + 1, now_ms))
redis.call('HSET', job, 'fence', fence)
local ref = id .. ':' .. last
redis.call('HSET', prefix .. 'share:' .. ref, 'state', 'running', 'owner', owner, 'fence', fence)
redis.call('HINCRBY', job, 'running', 1)
redis.call('ZADD', leases, fence, ref)
move(prefix, id, 'running')
return {last, tonumber(fence), tonumber(redis.call('HGET', job, 'attempt'))}
