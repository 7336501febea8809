"""Random state outside the variables: the host's, and that of TensorFlow's older random ops."""
