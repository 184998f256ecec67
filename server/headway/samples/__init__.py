"""The bundled job types, each about a page long. Read one before you write your own; they import `headway` only."""
