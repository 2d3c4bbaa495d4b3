"""The services of the store as plain async functions, and what carries their requests through consensus."""
