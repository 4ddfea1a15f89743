; Scala: definitions, imports, references.

(class_definition name: (_) @name body: (_)? @body) @definition.class
(trait_definition name: (_) @name body: (_)? @body) @definition.trait
(object_definition name: (_) @name body: (_)? @body) @definition.object
(enum_definition name: (_) @name body: (_)? @body) @definition.enum
(function_definition name: (_) @name body: (_)? @body) @definition.function
(function_declaration name: (_) @name) @definition.function
(val_definition pattern: (identifier) @name) @definition.constant
(var_definition pattern: (identifier) @name) @definition.constant
(val_declaration name: (identifier) @name) @definition.constant
(given_definition name: (identifier) @name) @definition.constant
(type_definition name: (type_identifier) @name) @definition.type
(simple_enum_case name: (identifier) @name) @definition.field
(full_enum_case name: (identifier) @name) @definition.field

(import_declaration) @import @clause
(package_clause name: (package_identifier) @package)

(call_expression function: [(identifier) @reference (field_expression field: (identifier) @reference)])
(instance_expression (type_identifier) @reference)
(parameter type: (type_identifier) @reference)
(extends_clause type: (type_identifier) @reference)
