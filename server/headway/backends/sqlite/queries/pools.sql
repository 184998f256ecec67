SELECT type, pool FROM pools
