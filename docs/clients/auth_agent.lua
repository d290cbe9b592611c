-- A client of auth-agent for Lua 5.1 to 5.3, on lua-messagepack and luaposix: copy it into your program.
--
--   local agent = require("auth_agent").connect()
--   local token = assert(agent:token({ url = "https://api.acme.example/", min_ttl = 60 }))
--   local header = "Authorization: Bearer " .. token.access_token
--   agent:close()
--
-- Parameters, results and errors are those of docs/protocol.md. luaposix can't ask for the user of the process at the
-- other end of a socket; nobody else can make a socket in the directory that is checked here.

local msgpack = require("MessagePack")
local poll = require("posix.poll")
local signal = require("posix.signal")
local socket = require("posix.sys.socket")
local stat = require("posix.sys.stat")
local unistd = require("posix.unistd")

local LONGEST = 20 -- seconds: the agent answers after 15, unless the parameter `timeout` says otherwise

local M = {}
local Agent = {}
Agent.__index = Agent

local function failure(code, message)
  return { code = code, message = message, retryable = code ~= "untrusted_agent", remedy = {} }
end

--- Where the agent listens.
function M.socket_path()
  local function named(variable)
    local value = os.getenv(variable)
    return value ~= "" and value or nil
  end
  local runtime = "/run/user/" .. unistd.getuid()
  local directory = named("XDG_RUNTIME_DIR") or unistd.access(runtime, "w") and runtime
    or named("XDG_STATE_HOME") or os.getenv("HOME") .. "/.local/state"
  return named("AUTH_AGENT_SOCK") or directory .. "/auth-agent/agent.sock"
end

--- A connection to the agent, for one call at a time; or nil and an error.
function M.connect(path)
  path = path or M.socket_path()
  local directory = path:match("^(.*)/[^/]*$")
  local found = stat.lstat(directory)
  if found then
    local open_to_others = found.st_mode % 64 ~= 0
    if stat.S_ISDIR(found.st_mode) == 0 or found.st_uid ~= unistd.geteuid() or open_to_others then
      return nil, failure("untrusted_agent", "others may enter " .. directory)
    end
  end
  signal.signal(signal.SIGPIPE, signal.SIG_IGN) -- an agent that hung up must not end this program
  local fd = assert(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0))
  local connected, reason = socket.connect(fd, { family = socket.AF_UNIX, path = path })
  if not connected then
    unistd.close(fd)
    return nil, failure("agent_not_running", "no agent at " .. path .. ": " .. reason)
  end
  local agent = setmetatable({ fd = fd, id = 0 }, Agent)
  agent.messages = msgpack.unpacker(function() return agent:_read() end)
  return agent
end

function Agent:close()
  if self.fd then
    unistd.close(self.fd)
    self.fd = nil
  end
end

function Agent:token(params)
  return self:call("token", params)
end

--- The token to use instead of one that an API answered with 401: `params.challenge` is its WWW-Authenticate.
function Agent:rejected(access_token, params)
  params = params or {}
  params.access_token = access_token
  return self:call("rejected", params)
end

--- The result of a method; or nil and the agent's error, a table with `code`, `message`, `retryable` and `remedy`.
function Agent:call(method, params)
  if not self.fd then
    return nil, failure("connection_lost", "the connection was closed")
  end
  params = params or {}
  self.id = (self.id + 1) % 4294967296
  self.deadline = os.time() + (params.timeout and params.timeout + 5 or LONGEST)
  -- [0, id, method, [params]], where an empty table would be packed as an array.
  local packed = next(params) and msgpack.pack(params) or "\128"
  local rest = "\148\0" .. msgpack.pack(self.id) .. msgpack.pack(method) .. "\145" .. packed
  while #rest > 0 do
    local sent, reason = socket.send(self.fd, rest)
    if not sent then
      return self:_lost(failure("connection_lost", "the agent hung up: " .. reason))
    end
    rest = rest:sub(sent + 1)
  end
  return self:_response()
end

function Agent:_response()
  while true do
    local complete, more, message = pcall(self.messages)
    if not complete or not more then
      return self:_lost(self.problem or failure("connection_lost", "the agent speaks another protocol"))
    elseif message[1] == 2 and message[2] == "closing" then
      return self:_lost(message[3][1])
    elseif message[1] == 1 and message[2] == self.id then
      return message[4], message[3]
    end
  end
end

--- What has arrived, for the unpacker; nil, and a `problem`, if nothing does.
function Agent:_read()
  if poll.rpoll(self.fd, 1000 * math.max(0, self.deadline - os.time())) ~= 1 then
    self.problem = failure("timeout", "the agent did not respond in time")
    return nil
  end
  local data, reason = socket.recv(self.fd, 65536)
  if not data or data == "" then
    self.problem = failure("connection_lost", "the agent hung up" .. (reason and ": " .. reason or ""))
    return nil
  end
  return data
end

function Agent:_lost(problem)
  self:close()
  return nil, problem
end

return M
