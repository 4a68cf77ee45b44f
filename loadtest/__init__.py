"""Load: crowds, recordings and their reports. Imports ``protocol`` only, as any client would."""
