; C#: definitions, usings, references.

(class_declaration name: (identifier) @name body: (_)? @body) @definition.class
(record_declaration name: (identifier) @name body: (_)? @body) @definition.class
(struct_declaration name: (identifier) @name body: (_)? @body) @definition.struct
(interface_declaration name: (identifier) @name body: (_)? @body) @definition.interface
(enum_declaration name: (identifier) @name body: (_)? @body) @definition.enum
(method_declaration name: (identifier) @name body: (_)? @body) @definition.method
(constructor_declaration name: (identifier) @name body: (_)? @body) @definition.method
(local_function_statement name: (identifier) @name body: (_)? @body) @definition.function
(delegate_declaration name: (identifier) @name) @definition.type
(property_declaration name: (identifier) @name) @definition.field
(field_declaration (variable_declaration (variable_declarator name: (identifier) @name))) @definition.field
(event_field_declaration (variable_declaration (variable_declarator name: (identifier) @name))) @definition.field
(enum_member_declaration name: (identifier) @name) @definition.field

(using_directive) @import @clause
(namespace_declaration name: (_) @package)
(file_scoped_namespace_declaration name: (_) @package)

(invocation_expression function: [
  (identifier) @reference
  (member_access_expression name: (identifier) @reference)])
(object_creation_expression type: (identifier) @reference)
(parameter type: (identifier) @reference)
(base_list (identifier) @reference)
