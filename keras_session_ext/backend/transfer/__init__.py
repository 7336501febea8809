"""From one Keras's variables to another's: tables of what a model is made of, and plans of what goes where."""
