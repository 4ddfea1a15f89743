--- setup() in, code completion out: starts the server for each buffer that wants it and gives it an engine to draw with.
local client = require('lacuna.client')
local keys = require('lacuna.keys')
local options = require('lacuna.options')

local api = vim.api
local M = {}

--- What is in force; nil before setup(). For :checkhealth and :Lacuna status.
M.options = nil
M.problems = {}
M.engine = nil
M.enabled = false

local GROUP = 'lacuna'

--- Whether suggestions are wanted in a buffer now: switched on, a type that fits, not refused by b:lacuna = false.
local function wanted(bufnr)
  return M.enabled and vim.b[bufnr].lacuna ~= false and options.wants(M.options, bufnr)
end

local attach

local function server_ended(bufnr)
  if M.enabled and api.nvim_buf_is_valid(bufnr) and bufnr == api.nvim_get_current_buf() then
    attach(bufnr)
  end
end

function attach(bufnr)
  if wanted(bufnr) and not client.of(bufnr) and client.attach(bufnr, M.options, server_ended) then
    M.engine.enable(bufnr, true)
  end
end

--- Tells the server where the cursor rests outside insert mode, so that it can read ahead, once a row; and in any mode
--- when the places of a snippet begin or cease to be filled in, for it keeps quiet meanwhile.
local function tell_cursor()
  local last, filling = '', {}
  return function(event)
    local server = wanted(event.buf) and client.of(event.buf)
    if not server then
      return
    end
    local in_snippet = vim.snippet ~= nil and vim.snippet.active()
    local row = event.buf .. ':' .. api.nvim_win_get_cursor(0)[1]
    local is_writing = api.nvim_get_mode().mode:match('^[is]') ~= nil
    if in_snippet ~= (filling[event.buf] or false) or (row ~= last and not is_writing) then
      last, filling[event.buf] = row, in_snippet
      client.notify(
        server,
        'lacuna/cursor',
        vim.tbl_extend('force', client.position(server), { inSnippet = in_snippet })
      )
    end
  end
end

local function map_trigger()
  local key = M.options.keys.trigger
  if key and vim.fn.maparg(key, 'i') == '' then
    vim.keymap.set('i', key, function()
      if wanted(api.nvim_get_current_buf()) then
        M.engine.trigger()
      end
    end, { desc = 'Lacuna: ask by hand' })
  end
end

--- Switches suggestions on or off everywhere.
function M.enable(on)
  M.enabled = on ~= false
  for _, bufnr in ipairs(api.nvim_list_bufs()) do
    if client.of(bufnr) then
      M.engine.enable(bufnr, M.enabled)
    end
  end
  if M.enabled then
    attach(api.nvim_get_current_buf())
  else
    M.engine.hide()
  end
end

--- Stops the servers and starts one for the current buffer.
function M.restart()
  M.engine.hide()
  client.stop()
  vim.defer_fn(function()
    attach(api.nvim_get_current_buf())
  end, 500) -- a server that is stopping still counts as attached for a moment
end

--- A few words for a status line: "lacuna", "lacuna …" while it works, "lacuna 40 %" while it indexes, "lacuna off",
--- "lacuna error", "lacuna ended", or "" where no suggestions belong.
function M.statusline()
  local bufnr = api.nvim_get_current_buf()
  if not M.options or not options.wants(M.options, bufnr) then
    return ''
  elseif not wanted(bufnr) then
    return 'lacuna off'
  end
  local server = client.of(bufnr)
  if not server then
    return client.last_exit and 'lacuna ended' or 'lacuna …'
  end
  local told = client.states[server.id] or {}
  if told.state == 'indexing' then
    return ('lacuna %d %%'):format(told.percent)
  end
  local words = { starting = ' …', thinking = ' …', off = ' off', error = ' error' }
  return 'lacuna' .. (words[told.state] or '')
end

--- Opens the page of `lacuna stats` in the browser.
function M.stats()
  local cmd = M.options.cmd
  if type(cmd) ~= 'table' then
    return vim.notify('Lacuna: run `lacuna stats --web` where the server is', vim.log.levels.WARN)
  end
  local words = vim.list_slice(cmd)
  words[#words] = words[#words] == '--stdio' and 'stats' or words[#words]
  table.insert(words, '--web')
  local said = vim.fn.system(words)
  if said ~= '' then
    vim.notify('Lacuna: ' .. vim.trim(said))
  end
end

--- What is in force, a line a fact.
function M.status()
  local bufnr = api.nvim_get_current_buf()
  local server = client.of(bufnr)
  local told = server and client.states[server.id] or {}
  local facts = {
    'suggestions: ' .. (wanted(bufnr) and 'on' or M.enabled and 'on, but not in this buffer' or 'off'),
    'server: ' .. (server and ('running, id %d, %s'):format(server.id, server.offset_encoding) or 'not running'),
    'state: ' .. (told.reason and told.state .. ', ' .. told.reason or told.state or 'not told'),
    'workspace: ' .. (server and server.config.root_dir or client.root(bufnr, M.options.root_markers)),
    'ghost text: ' .. M.engine.name,
  }
  return vim.list_extend(facts, M.problems)
end

--- Takes the visible suggestion. Returns false when there is none, for use in a mapping of your own.
function M.accept()
  return M.engine ~= nil and M.engine.visible() and M.engine.accept()
end

--- Whether a suggestion is on the screen.
function M.visible()
  return M.engine ~= nil and M.engine.visible()
end

--- Starts Lacuna with options as :help lacuna-options describes them. A second call replaces the first.
function M.setup(given)
  M.options, M.problems = options.resolve(given)
  for _, problem in ipairs(M.problems) do
    vim.notify('Lacuna: ' .. problem, vim.log.levels.WARN)
  end
  keys.release()
  local has_builtin = vim.lsp.inline_completion ~= nil
  M.engine = require(has_builtin and M.options.builtin ~= false and 'lacuna.builtin' or 'lacuna.inline')
  M.enabled = M.options.enabled
  api.nvim_set_hl(0, 'LacunaGhost', { default = true, link = 'Comment' })

  local group = api.nvim_create_augroup(GROUP, { clear = true })
  api.nvim_create_autocmd(
    { 'CursorMoved', 'BufEnter', 'ModeChanged', 'CursorMovedI', 'TextChangedI' }, -- before the engine's, which ask
    { group = group, callback = tell_cursor() }
  )
  M.engine.start(M.options, wanted, group)
  map_trigger()
  api.nvim_create_autocmd({ 'FileType', 'BufEnter', 'InsertEnter' }, {
    group = group,
    callback = function(event)
      attach(event.buf)
    end,
  })
  api.nvim_create_autocmd({ 'LspAttach', 'LspDetach' }, {
    group = group,
    callback = vim.schedule_wrap(function()
      vim.cmd('redrawstatus')
    end),
  })
  if vim.v.vim_did_enter == 1 then
    attach(api.nvim_get_current_buf())
  end
end

return M
