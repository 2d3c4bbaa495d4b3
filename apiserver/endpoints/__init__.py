"""What the server answers: the verbs on resources, discovery, schemas, tables, patches, and the router to them."""
