"""What patients are followed for: one record an endpoint, one record an estimator.

Each file of this folder but `base`, `estimators` and `registry` declares its records as ``ENDPOINTS``; the registry
finds them.
"""
