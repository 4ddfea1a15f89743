; Kotlin: definitions, imports, references.

(class_declaration name: (identifier) @name (class_body)? @body) @definition.class
(class_declaration name: (identifier) @name (enum_class_body) @body) @definition.enum
(object_declaration name: (identifier) @name (class_body)? @body) @definition.object
(function_declaration name: (identifier) @name (function_body)? @body) @definition.function
(property_declaration (variable_declaration (identifier) @name)) @definition.constant
(class_parameter ["val" "var"] (identifier) @name) @definition.field
(enum_entry (identifier) @name) @definition.field
(type_alias type: (identifier) @name) @definition.type

(import) @import @clause
(package_header (qualified_identifier) @package)

(call_expression (identifier) @reference)
(call_expression (navigation_expression (identifier) @reference .))
(user_type (identifier) @reference)
