; Bash: definitions, sourced files, references.

(function_definition name: (word) @name body: (_) @body) @definition.function
(program (variable_assignment name: (variable_name) @name) @definition.constant)
(program (declaration_command (variable_assignment name: (variable_name) @name)) @definition.constant)

((command name: (command_name (word) @_source) . argument: (_) @module) @import @star
  (#match? @_source "^(source|[.])$"))

(command name: (command_name (word) @reference))
