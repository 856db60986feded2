"""The checks of which `lpbf_dataset.store.verify.verify_store` consists, one kind a module."""
