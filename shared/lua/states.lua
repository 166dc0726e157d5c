-- What every script begins with that changes a job's state: the one place where that is done, listed, and told.

-- Adds an event to the stream of a job's tenant.
local function tell(prefix, id, event)
  local job = redis.call('HMGET', prefix .. 'job:' .. id, 'tenant', 'state', 'done', 'total', 'unit')
  redis.call('XADD', prefix .. 'events:' .. (job[1] or 'default'), 'MAXLEN', '~', 10000, '*', 'event', event, 'job', id,
    'state', job[2], 'done', job[3] or 0, 'total', job[4] or 0, 'unit', job[5] or 'step')
end

-- Moves a job from the state that it is in to another one.
local function move(prefix, id, state)
  local job = prefix .. 'job:' .. id
  local held = redis.call('HMGET', job, 'state', 'tenant')
  if held[1] == state then return end
  for _, states in ipairs({prefix .. 'state:', prefix .. 'list:' .. (held[2] or 'default') .. ':state:'}) do
    if held[1] then redis.call('ZREM', states .. held[1], id) end
    redis.call('ZADD', states .. state, 0, id)
  end
  redis.call('HSET', job, 'state', state)
  tell(prefix, id, 'job.' .. state)
end

