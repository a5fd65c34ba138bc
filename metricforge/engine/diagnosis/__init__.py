"""The run doctor: watches a training for the usual illnesses, and says in a sentence what is wrong and what helps."""
