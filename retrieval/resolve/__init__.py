"""Turns the name that an import gives into files. Does not read code.

Modules, each of which imports only those above it:

    projects  what go.mod, Cargo.toml, package.json and tsconfig.json say of imports
    modules   a module's name to the files it means
"""
