-- Writes the record of a queued job, unless there is one: a request that is repeated must not set a job back.
-- KEYS: job, deadlines, lanes of its priority, pending of its lane, every index that it is in
-- ARGV: prefix, id, job as JSON, created at in ms, deadline in ms, lane, priority, fence, weight, and by share its
-- number of items, negative where it has ended
local job, deadlines, lanes, pending = unpack(KEYS)
local prefix, id, document, created, deadline, lane, priority, fence, weight = unpack(ARGV)
if redis.call('EXISTS', job) == 1 then return 0 end
local left, size = 0, 0
for number = 0, #ARGV - 10 do
  local items = tonumber(ARGV[number + 10])
  local state = items < 0 and 'ended' or 'pending'
  local ref = id .. ':' .. number
  size = size + math.abs(items) * weight
  redis.call('HSET', prefix .. 'share:' .. ref, 'state', state, 'size', math.abs(items) * weight, 'attempt', 0,
    'lane', lane, 'since', created, 'resumes', fence == '0' and 0 or 1)
  if state == 'pending' then
    left = left + 1
    redis.call('ZADD', pending, created, ref)
  end
end
local shares = #ARGV - 9
if left == 0 then -- all that is left to do is to put them together
  redis.call('HSET', prefix .. 'share:' .. id .. ':' .. shares, 'state', 'pending', 'size', 1, 'attempt', 0,
    'lane', lane, 'since', created)
  redis.call('ZADD', pending, created, id .. ':' .. shares)
end
redis.call('HSET', job, 'job', document, 'state', 'queued', 'fence', fence, 'attempt', 0, 'shares', shares,
  'left', left, 'running', 0, 'size', size, 'lane', lane, 'priority', priority)
redis.call('ZADD', deadlines, deadline, id)
redis.call('ZADD', lanes, 'NX', redis.call('INCR', prefix .. 'served'), lane)
for index = 5, #KEYS do redis.call('ZADD', KEYS[index], 0, id) end
return 1
