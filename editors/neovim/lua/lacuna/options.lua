--- What the user hands to setup() in, complete options out; bad ones are named and replaced by the default.
--- Knows nothing of buffers or servers.
local M = {}

M.defaults = {
  --- The language server. The first word must be on the PATH or a full path.
  cmd = { 'lacuna', '--stdio' },
  --- A folder that holds one of these is the root of the workspace.
  root_markers = { '.git', '.hg', 'pyproject.toml', 'setup.py', 'package.json', 'go.mod', 'Cargo.toml' },
  --- nil: every file that is not prose or a commit message. Or a list of filetypes.
  filetypes = nil,
  --- Handed to the server as initializationOptions and as the `lacuna` section of the configuration.
  settings = {},
  --- Suggestions are on from the start.
  enabled = true,
  --- nil: Neovim's own vim.lsp.inline_completion where there is one (0.12). false: always this plugin's own.
  builtin = nil,
  --- Each key is mapped only while a suggestion is visible, `trigger` excepted. false: not mapped.
  keys = {
    accept = '<Tab>',
    accept_word = '<C-Right>',
    accept_line = '<C-Down>',
    dismiss = '<C-]>',
    next = '<M-]>',
    previous = '<M-[>',
    trigger = '<M-\\>',
  },
}

--- Prose and lists of files: nobody wants code there unless they ask by naming filetypes.
M.prose = { '', 'gitcommit', 'gitrebase', 'hgcommit', 'help', 'mail', 'man', 'qf', 'svn', 'text' }

--- What type each option may have.
M.types = {
  cmd = { 'table', 'function' },
  root_markers = { 'table' },
  filetypes = { 'table', 'nil' },
  settings = { 'table' },
  enabled = { 'boolean' },
  builtin = { 'boolean', 'nil' },
  keys = { 'table' },
}

--- Options with every default filled in, and a list of sentences on what was wrong with the given ones.
function M.resolve(given)
  local problems, known = {}, {}
  for name, value in pairs(given or {}) do
    local allowed = M.types[name]
    if not allowed then
      table.insert(problems, ('there is no option %q; see :help lacuna-options'):format(name))
    elseif not vim.tbl_contains(allowed, type(value)) then
      local text = 'option %s must be a %s, not a %s; the default is used'
      table.insert(problems, text:format(name, allowed[1], type(value)))
    else
      known[name] = value
    end
  end
  for name, key in pairs(known.keys or {}) do
    if M.defaults.keys[name] == nil or not (type(key) == 'string' or key == false) then
      table.insert(problems, ('keys.%s is not a key of Lacuna; see :help lacuna-keys'):format(name))
      known.keys = vim.tbl_extend('force', known.keys, { [name] = M.defaults.keys[name] })
    end
  end
  table.sort(problems)
  return vim.tbl_deep_extend('force', M.defaults, known), problems
end

--- Whether suggestions belong in a buffer: a named or unnamed file of a wanted type, not a terminal or a menu.
function M.wants(options, bufnr)
  local filetype = vim.bo[bufnr].filetype
  if vim.bo[bufnr].buftype ~= '' then
    return false
  elseif options.filetypes then
    return vim.tbl_contains(options.filetypes, filetype)
  end
  return not vim.tbl_contains(M.prose, filetype)
end

return M
