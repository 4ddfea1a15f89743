; Java: definitions, imports, references.

(class_declaration name: (identifier) @name body: (_) @body) @definition.class
(interface_declaration name: (identifier) @name body: (_) @body) @definition.interface
(enum_declaration name: (identifier) @name body: (_) @body) @definition.enum
(record_declaration name: (identifier) @name body: (_) @body) @definition.class
(annotation_type_declaration name: (identifier) @name body: (_) @body) @definition.interface
(method_declaration name: (identifier) @name body: (_)? @body) @definition.method
(constructor_declaration name: (identifier) @name body: (_) @body) @definition.method
(annotation_type_element_declaration name: (identifier) @name) @definition.method
(field_declaration declarator: (variable_declarator name: (identifier) @name)) @definition.field
(constant_declaration declarator: (variable_declarator name: (identifier) @name)) @definition.field
(enum_constant name: (identifier) @name) @definition.field

(import_declaration) @import @clause
(package_declaration (_) @package)

(method_invocation name: (identifier) @reference)
(object_creation_expression type: [(type_identifier) @reference (generic_type (type_identifier) @reference)])
(formal_parameter type: [(type_identifier) @reference (generic_type (type_identifier) @reference)])
(superclass (type_identifier) @reference)
