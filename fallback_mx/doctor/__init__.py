"""What `fallback-mx doctor` looks at: is everything around this service as it must be, and what is to be done if not?

Each check is a pure judgement (facts in, findings out) beside one gatherer of facts. Nobody is harmed by looking: no
mail is sent, no content is offered to anybody, and an attempt to relay goes to our own listener alone.
"""
