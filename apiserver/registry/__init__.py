"""Objects of every kind: the generic store and the strategies of the kinds that have rules of their own."""
