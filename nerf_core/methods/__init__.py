"""The methods a person can choose: `fast` (hash grid) and `classic` (the 2020 NeRF), behind one interface."""
