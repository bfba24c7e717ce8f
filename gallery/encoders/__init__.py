"""The networks that turn a face's chip into numbers, each behind one small protocol."""
