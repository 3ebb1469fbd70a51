-- One connection a thread: how long each request took by how it was answered, as one line of JSON at the end.
local ffi = require("ffi")
ffi.cdef [[
  typedef struct { long sec; long nsec; } flightline_time;
  int clock_gettime(int clock, flightline_time *now);
]]
local now = ffi.new("flightline_time")
local threads = {}

local function microseconds()
  ffi.C.clock_gettime(1, now)
  return tonumber(now.sec) * 1e6 + tonumber(now.nsec) / 1e3
end

function setup(thread)
  threads[#threads + 1] = thread
end

function init(arguments)
  local lines = io.lines(arguments[1])
  wrk.headers["Content-Type"] = "application/json"
  ready, accepted, refused, hasty = wrk.format("POST", nil, nil, lines()), "", 0, 0
end

function request()
  began = microseconds()
  return ready
end

function response(status, headers)
  if status == 200 then
    accepted = accepted .. string.format("%d,", microseconds() - began)
  elseif status == 503 and headers["retry-after"] then
    refused = refused + 1
  else
    hasty = hasty + 1
  end
end

function done()
  local all, refusals, others = "", 0, 0
  for _, thread in ipairs(threads) do
    all = all .. thread:get("accepted")
    refusals, others = refusals + thread:get("refused"), others + thread:get("hasty")
  end
  io.write(string.format('\n{"accepted_us":[%s],"refused":%d,"others":%d}\n', all:sub(1, -2), refusals, others))
end
