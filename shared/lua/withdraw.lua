-- Cancels a job: what waits is taken out of the queue, what runs will hear of it. If nothing runs, whoever asks is to
-- end the job: number of the share to end it by, fence, attempt.
-- KEYS: job, leases   ARGV: prefix, id, why, owner
local job, leases = unpack(KEYS)
local prefix, id, why, owner = unpack(ARGV)
local held = redis.call('HMGET', job, 'state', 'shares', 'priority')
if held[1] ~= 'queued' and held[1] ~= 'running' then return false end
redis.call('HSETNX', job, 'cancel', why)
local shares = tonumber(held[2])
local last
for number = 0, shares do
  local ref = id .. ':' .. number
  local share = prefix .. 'share:' .. ref
  local facts = redis.call('HMGET', share, 'state', 'lane')
  if facts[1] == 'pending' then
    local pending = prefix .. 'pending:' .. held[3] .. ':' .. facts[2]
    redis.call('ZREM', pending, ref)
    if redis.call('EXISTS', pending) == 0 then redis.call('ZREM', prefix .. 'lanes:' .. held[3], facts[2]) end
    redis.call('HSET', share, 'state', 'ended')
    if number < shares then redis.call('HINCRBY', job, 'left', -1) end
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
