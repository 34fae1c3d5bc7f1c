"""The files of results: rows and curves as text, durable appending, recovery, reading."""
