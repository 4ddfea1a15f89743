--- A buffer in, its attached language client out; one root, one server. Hides what differs from Neovim 0.9 to 0.12.
--- Knows nothing of ghosts or keys.
local M = {}

local NAME = 'lacuna'
local STARTS, WINDOW = 4, 60 -- a server that dies this often within so many seconds is left alone

local methods_take_self = vim.fn.has('nvim-0.11') == 1
local now = (vim.uv or vim.loop).now
local list = vim.lsp.get_clients or vim.lsp.get_active_clients
local known = {} -- ids of servers this has started

M.starts = {} -- times in ms of recent starts, for the limit above and for :checkhealth
M.last_exit = nil -- { code, signal } of the last server that ended
M.states = {} -- client id → { state, reason, percent } as its server last told

--- Says it once, and outside the event that found it out, which Neovim would otherwise report as failed.
local function complain(message)
  vim.schedule(function()
    vim.notify_once(message, vim.log.levels.ERROR)
  end)
end

--- Calls a method of a client the way this Neovim wants it.
local function call(client, method, ...)
  if methods_take_self then
    return client[method](client, ...)
  end
  return client[method](...)
end

--- The folder of the workspace a buffer belongs to; the file's own folder when no marker is found.
function M.root(bufnr, markers)
  local name = vim.api.nvim_buf_get_name(bufnr)
  local folder = name ~= '' and vim.fn.fnamemodify(name, ':p:h') or vim.fn.getcwd()
  local found = vim.fs.find(markers, { path = folder, upward = true, limit = 1 })[1]
  return found and vim.fn.fnamemodify(found, ':p:h' .. (vim.fn.isdirectory(found) == 1 and ':h' or '')) or folder
end

--- The running Lacuna client of a buffer, or nil.
function M.of(bufnr)
  for _, client in ipairs(list({ bufnr = bufnr, name = NAME })) do
    if not call(client, 'is_stopped') then
      return client
    end
  end
end

local function may_start()
  local recent = {}
  for _, time in ipairs(M.starts) do
    if now() - time < WINDOW * 1000 then
      table.insert(recent, time)
    end
  end
  M.starts = recent
  return #recent < STARTS
end

local function capabilities()
  local all = vim.lsp.protocol.make_client_capabilities()
  all.textDocument.inlineCompletion = { dynamicRegistration = false }
  return all
end

--- Whether a client is alive and of the workspace that `config` asks for.
local function serves(client, config)
  return client.name == NAME and client.config.root_dir == config.root_dir and not call(client, 'is_stopped')
end

--- Attaches a buffer to the server of its workspace, starting it when it does not run. Returns whether it could.
--- `on_exit(bufnr)` is called when that server ends without having been asked to.
function M.attach(bufnr, options, on_exit)
  if M.of(bufnr) then
    return true
  end
  local program = type(options.cmd) == 'table' and options.cmd[1]
  if program and vim.fn.executable(program) == 0 then
    local text = 'Lacuna: there is no program %q; install it or name it in setup({ cmd = … }), then :checkhealth lacuna'
    complain(text:format(program))
    M.last_exit = { code = 127, signal = 0 } -- as a shell says it
    return false
  end
  if not may_start() then
    local text = 'Lacuna: the server ended %d times in a minute; see :checkhealth lacuna, then :Lacuna restart'
    complain(text:format(STARTS))
    return false
  end
  local settings = vim.tbl_extend('keep', options.settings, { status = true })
  local id = vim.lsp.start({
    name = NAME,
    cmd = options.cmd,
    root_dir = M.root(bufnr, options.root_markers),
    capabilities = capabilities(),
    init_options = settings,
    settings = { lacuna = settings },
    handlers = {
      ['lacuna/status'] = function(_, state, context)
        M.states[context.client_id] = state
        vim.cmd('redrawstatus')
      end,
    },
    on_exit = function(code, signal)
      M.last_exit = { code = code, signal = signal }
      vim.schedule(function()
        on_exit(bufnr)
      end)
    end,
  }, { bufnr = bufnr, reuse_client = serves })
  if id and not known[id] then
    known[id] = true
    table.insert(M.starts, now())
  end
  return id ~= nil
end

--- Stops every server of ours and forgets how often they were started.
function M.stop()
  for _, client in ipairs(list({ name = NAME })) do
    call(client, 'stop')
  end
  M.starts = {}
end

--- Sends a request. Returns its id, or nil when the server is gone. `handler(error, result)`.
function M.request(client, method, params, bufnr, handler)
  local sent, id = call(client, 'request', method, params, handler, bufnr)
  return sent and id or nil
end

function M.cancel(client, id)
  call(client, 'cancel_request', id)
end

function M.notify(client, method, params)
  call(client, 'notify', method, params)
end

--- A byte column of a line as the server counts.
local function character(line, byte, encoding)
  if encoding == 'utf-8' then
    return byte
  elseif vim.fn.has('nvim-0.11') == 1 then
    return vim.str_utfindex(line, encoding, byte, false)
  end
  local in_32, in_16 = vim.str_utfindex(line, byte)
  return encoding == 'utf-16' and in_16 or in_32
end

--- The cursor of the current window: { textDocument, position }. Neovim 0.10's own function miscounts utf-32.
function M.position(client)
  local row, byte = unpack(vim.api.nvim_win_get_cursor(0))
  local column = character(vim.api.nvim_get_current_line(), byte, client.offset_encoding)
  return {
    textDocument = vim.lsp.util.make_text_document_params(),
    position = { line = row - 1, character = column },
  }
end

--- The byte column of a position's `character` in a line of text; past its end is the end.
function M.byte(line, character, encoding)
  if encoding == 'utf-8' then
    return math.min(character, #line)
  elseif vim.fn.has('nvim-0.11') == 1 then
    return vim.str_byteindex(line, encoding, character, false)
  end
  local whole_32, whole_16 = vim.str_utfindex(line)
  local whole = encoding == 'utf-16' and whole_16 or whole_32
  return character >= whole and #line or vim.str_byteindex(line, character, encoding == 'utf-16')
end

return M
